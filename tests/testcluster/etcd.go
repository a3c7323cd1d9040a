package main

import (
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdCommand runs a single member tuned for tests: no fsync, and a leader within 0.2 s.
func etcdCommand() *cobra.Command {
	var dir, client, peer string
	c := &cobra.Command{Use: "etcd", SilenceUsage: true, RunE: func(*cobra.Command, []string) error {
		cfg := embed.NewConfig()
		cfg.Dir = dir
		clientURL, err := url.Parse(client)
		if err != nil {
			return err
		}
		peerURL, err := url.Parse(peer)
		if err != nil {
			return err
		}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
		cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
		cfg.UnsafeNoFsync = true
		cfg.LogLevel = "error"
		cfg.WarningUnaryRequestDuration = time.Second
		cfg.TickMs, cfg.ElectionMs = 20, 200
		e, err := embed.StartEtcd(cfg)
		if err != nil {
			return err
		}
		defer e.Close()
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		select {
		case <-stop:
			return nil
		case err = <-e.Err():
			return err
		}
	}}
	c.Flags().StringVar(&dir, "data-dir", "", "where the database lies")
	c.Flags().StringVar(&client, "client", "", "URL to serve clients on")
	c.Flags().StringVar(&peer, "peer", "", "URL to serve peers on")
	return c
}
