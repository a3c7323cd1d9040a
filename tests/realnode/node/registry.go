package main

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// registryCommand serves a registry without images: every tag is truly not found, and repositories below `denied/` want a
// login. So the kubelet and containerd write the messages that they write for a real registry.
func registryCommand() *cobra.Command {
	var address string
	command := &cobra.Command{Use: "registry", RunE: func(*cobra.Command, []string) error {
		return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case r.URL.Path == "/v2" || r.URL.Path == "/v2/":
				_, _ = w.Write([]byte("{}"))
			case strings.Contains(r.URL.Path, "/denied/"):
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
			default:
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`))
			}
		}))
	}}
	command.Flags().StringVar(&address, "address", "127.0.0.1:5000", "address to listen on")
	return command
}
