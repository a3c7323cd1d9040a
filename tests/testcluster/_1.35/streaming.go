package main

import (
	"k8s.io/apimachinery/pkg/types"
	protocols "k8s.io/apimachinery/pkg/util/remotecommand"
	terminal "k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
)

// What a kubelet serves streams with, where it was before 1.36.
type (
	podUID       = types.UID
	terminalSize = terminal.TerminalSize
)

var (
	newStreamOptions   = remotecommand.NewOptions
	serveExec          = remotecommand.ServeExec
	serveAttach        = remotecommand.ServeAttach
	streamProtocols    = protocols.SupportedStreamingProtocols
	newForwardOptions  = portforward.NewV4Options
	servePortForward   = portforward.ServePortForward
	forwardedProtocols = portforward.SupportedProtocols
)
