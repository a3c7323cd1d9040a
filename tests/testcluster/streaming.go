package main

import (
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// What a kubelet serves streams with. It was elsewhere before 1.36, so for 1.35 `_1.35/streaming.go` takes the place of this file.
type (
	podUID       = string
	terminalSize = remotecommand.TerminalSize
)

var (
	newStreamOptions   = remotecommand.NewOptions
	serveExec          = remotecommand.ServeExec
	serveAttach        = remotecommand.ServeAttach
	streamProtocols    = remotecommand.SupportedStreamingProtocols
	newForwardOptions  = portforward.NewV4Options
	servePortForward   = portforward.ServePortForward
	forwardedProtocols = portforward.SupportedProtocols
)
