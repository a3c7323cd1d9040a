package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// loopback is the only address anything listens on.
const loopback = "127.0.0.1"

// startDeadline is generous: two busy cores may need ten times what a free machine needs. A component that dies ends
// the wait at once, so the deadline is met only by one that hangs.
const startDeadline = 120 * time.Second

// hostPathRoot is where kube-controller-manager's hostPath provisioner makes folders; upstream fixes it.
const hostPathRoot = "/tmp/hostpath_pv"

type upOptions struct {
	dir            string
	apiserverExtra string
	nodes          int
	untilEOF       bool
	removeDir      bool
}

func upCommand() *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a control plane with fake nodes; print KUBECONFIG=… and ETCD=… when it is usable, then stay",
		Args:  cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { return up(o) },
	}
	c.Flags().StringVar(&o.dir, "dir", "", "folder for certificates, kubeconfigs, data and logs (required)")
	c.Flags().StringVar(&o.apiserverExtra, "apiserver-extra", "", "more kube-apiserver flags, separated by spaces")
	c.Flags().IntVar(&o.nodes, "nodes", 2, "number of fake nodes: node-1 in zone-a, node-2 in zone-b, node-3 in zone-a, …")
	c.Flags().BoolVar(&o.untilEOF, "until-eof", false, "end when standard input closes, that is with whoever holds the pipe")
	c.Flags().BoolVar(&o.removeDir, "remove-dir", false, "remove --dir at the end of a run that had become usable")
	if err := c.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// run is one control plane: its folder, its ports and its child processes.
type run struct {
	dir      string
	began    time.Time
	ca       *authority
	server   string // URL of kube-apiserver
	etcd     string // URL of etcd
	client   *http.Client
	children []*exec.Cmd
	died     chan string
	waited   chan struct{}
}

func up(o upOptions) (err error) {
	// PDEATHSIG is sent when the *thread* that started the child ends: keep this one for as long as the run lasts.
	runtime.LockOSThread()
	stop, done := stopSignal(o.untilEOF)
	defer done()

	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	r := &run{dir: dir, began: time.Now(), died: make(chan string, 64), waited: make(chan struct{}, 64)}
	if err := r.prepare(); err != nil {
		return err
	}
	defer r.kill()
	if err := r.start(stop, o); err != nil {
		return err
	}
	fmt.Printf("KUBECONFIG=%s\nETCD=%s\n", r.path("admin.kubeconfig"), r.etcd)

	select {
	case <-stop:
	case what := <-r.died:
		err = errors.New(what)
	}
	r.removeVolumes()
	r.kill()
	if err == nil && o.removeDir {
		return os.RemoveAll(r.dir)
	}
	return err
}

// stopSignal is closed at SIGTERM, SIGINT and, if asked for, when standard input ends.
func stopSignal(untilEOF bool) (<-chan struct{}, func()) {
	ctx, done := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	if untilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			done()
		}()
	}
	return ctx.Done(), done
}

func (r *run) path(name string) string { return filepath.Join(r.dir, name) }

func (r *run) write(name string, content []byte) error {
	return os.WriteFile(r.path(name), content, 0o600)
}

// mark tells on standard error how far the start is, with the seconds since its beginning.
func (r *run) mark(what string) {
	fmt.Fprintf(os.Stderr, "%7.3fs %s\n", time.Since(r.began).Seconds(), what)
}

// prepare chooses ports and writes certificates, kubeconfigs and a bin folder with kubectl.
func (r *run) prepare() error {
	if err := os.MkdirAll(r.path("bin"), 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Symlink(self, r.path("bin/kubectl")); err != nil && !os.IsExist(err) {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	r.server = "https://" + net.JoinHostPort(loopback, port)
	if r.ca, err = newAuthority(); err != nil {
		return err
	}
	if err := r.write("ca.crt", r.ca.pem); err != nil {
		return err
	}
	cert, key, err := r.ca.issue("kube-apiserver", nil,
		[]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		[]net.IP{net.ParseIP(loopback), net.ParseIP("10.96.0.1")})
	if err != nil {
		return err
	}
	if err := errors.Join(r.write("apiserver.crt", cert), r.write("apiserver.key", key)); err != nil {
		return err
	}
	_, key, err = r.ca.issue("service-accounts", nil, nil, nil)
	if err != nil {
		return err
	}
	if err := r.write("sa.key", key); err != nil {
		return err
	}
	users := map[string][]string{
		"admin":                          {"system:masters"},
		"alice":                          {"devs"}, // no rights: what a user without a role sees
		"kube-apiserver-kubelet-client":  {"system:masters"},
		"system:kube-controller-manager": nil,
		"system:kube-scheduler":          nil,
	}
	for user, groups := range users {
		cert, key, err := r.ca.issue(user, groups, nil, nil)
		if err != nil {
			return err
		}
		file := strings.TrimPrefix(user, "system:")
		err = errors.Join(r.write(file+".crt", cert), r.write(file+".key", key),
			r.write(file+".kubeconfig", kubeconfig(r.server, r.ca.pem, cert, key)))
		if err != nil {
			return err
		}
	}
	pair, err := tls.LoadX509KeyPair(r.path("admin.crt"), r.path("admin.key"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.ca.pem)
	r.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}},
		Timeout:   5 * time.Second,
	}
	return nil
}

// start brings the components up in the order of their dependencies and returns when a StatefulSet would run.
func (r *run) start(stop <-chan struct{}, o upOptions) error {
	clientPort, err := freePort()
	if err != nil {
		return err
	}
	peerPort, err := freePort()
	if err != nil {
		return err
	}
	r.etcd = "http://" + net.JoinHostPort(loopback, clientPort)
	err = r.child("etcd", "etcd", "--data-dir", r.path("etcd"), "--client", r.etcd,
		"--peer", "http://"+net.JoinHostPort(loopback, peerPort))
	if err != nil {
		return err
	}
	if err := r.wait(stop, "etcd /health", func() bool { return r.ok(r.etcd + "/health") }); err != nil {
		return err
	}
	if err := r.child("kube-apiserver", "kube-apiserver", r.apiserverFlags(o)...); err != nil {
		return err
	}
	if err := r.wait(stop, "kube-apiserver /livez", func() bool { return r.ok(r.server + "/livez") }); err != nil {
		return err
	}
	if err := r.child("kube-controller-manager", "kube-controller-manager", r.controllerFlags()...); err != nil {
		return err
	}
	if err := r.child("kube-scheduler", "kube-scheduler", r.schedulerFlags()...); err != nil {
		return err
	}
	for i := 1; i <= o.nodes; i++ {
		name, zone := fmt.Sprintf("node-%d", i), []string{"zone-b", "zone-a"}[i%2]
		err := r.child("fakenode-"+name, "fakenode", "--kubeconfig", r.path("admin.kubeconfig"), "--name", name, "--zone", zone,
			"--root", r.path(name), "--cert", r.path("apiserver.crt"), "--key", r.path("apiserver.key"))
		if err != nil {
			return err
		}
	}
	needed := []string{"/readyz", "/api/v1/namespaces/default/serviceaccounts/default", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"}
	for _, path := range needed {
		if err := r.wait(stop, "kube-apiserver "+path, func() bool { return r.ok(r.server + path) }); err != nil {
			return err
		}
	}
	return r.wait(stop, fmt.Sprintf("%d schedulable nodes", o.nodes), func() bool { return r.schedulable() == o.nodes })
}

func (r *run) apiserverFlags(o upOptions) []string {
	flags := []string{
		"--etcd-servers", r.etcd,
		"--bind-address", loopback, "--secure-port", r.server[strings.LastIndex(r.server, ":")+1:], "--advertise-address", loopback,
		"--tls-cert-file", r.path("apiserver.crt"), "--tls-private-key-file", r.path("apiserver.key"),
		"--client-ca-file", r.path("ca.crt"), "--cert-dir", r.path("run"),
		"--kubelet-client-certificate", r.path("kube-apiserver-kubelet-client.crt"),
		"--kubelet-client-key", r.path("kube-apiserver-kubelet-client.key"),
		// Else it resolves the node's name by DNS, and exec and logs fail.
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", r.path("sa.key"), "--service-account-signing-key-file", r.path("sa.key"),
		"--service-cluster-ip-range", "10.96.0.0/16", "--allow-privileged=true", "--authorization-mode", "Node,RBAC",
		"--enable-priority-and-fairness=false", "--profiling=false",
		// The address is loopback, which Endpoints must not hold.
		"--endpoint-reconciler-type=none",
		// The age applet rewrites what is stored, so it has to be able to read it.
		"--storage-media-type=application/json",
	}
	return append(flags, strings.Fields(o.apiserverExtra)...)
}

func (r *run) controllerFlags() []string {
	config := r.path("kube-controller-manager.kubeconfig")
	return []string{
		"--kubeconfig", config, "--authentication-kubeconfig", config, "--authorization-kubeconfig", config,
		"--bind-address", loopback, "--secure-port", "0", "--cert-dir", r.path("run"), "--leader-elect=false", "--profiling=false",
		// With RBAC the controllers' own roles hang on their service accounts.
		"--use-service-account-credentials=true",
		"--root-ca-file", r.path("ca.crt"), "--service-account-private-key-file", r.path("sa.key"),
		"--controllers", "*,-nodeipam,-certificatesigningrequest-signing-controller,-certificatesigningrequest-approving-controller," +
			"-certificatesigningrequest-cleaner-controller,-bootstrapsigner,-tokencleaner",
		"--enable-hostpath-provisioner=true", "--pvclaimbinder-sync-period=2s",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
		// A lost node is noticed within a test's patience; the fake node renews its lease every 3 s.
		"--node-monitor-grace-period=20s",
	}
}

func (r *run) schedulerFlags() []string {
	config := r.path("kube-scheduler.kubeconfig")
	return []string{
		"--kubeconfig", config, "--authentication-kubeconfig", config, "--authorization-kubeconfig", config,
		"--bind-address", loopback, "--secure-port", "0", "--cert-dir", r.path("run"), "--leader-elect=false",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}
}

// child starts an applet that the kernel kills when this process ends, however it ends; it logs to DIR/NAME.log.
func (r *run) child(name, applet string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(r.path(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(self, args...)
	c.Args[0] = applet
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.children = append(r.children, c)
	go func() {
		err := c.Wait()
		r.died <- fmt.Sprintf("%s ended: %v (see %s)", name, err, log.Name())
		r.waited <- struct{}{}
	}()
	return nil
}

// kill ends all children, the last started first, and waits for them.
func (r *run) kill() {
	for i := len(r.children) - 1; i >= 0; i-- {
		_ = r.children[i].Process.Kill()
	}
	for range r.children {
		<-r.waited
	}
	r.children = nil
}

// wait polls until the condition holds, a child dies, the run is told to stop, or the deadline passes.
func (r *run) wait(stop <-chan struct{}, what string, condition func() bool) error {
	deadline := time.After(startDeadline)
	for !condition() {
		select {
		case died := <-r.died:
			return fmt.Errorf("waiting for %s: %s", what, died)
		case <-stop:
			return fmt.Errorf("waiting for %s: told to stop", what)
		case <-deadline:
			return fmt.Errorf("waiting for %s: not within %s (logs: %s)", what, startDeadline, r.dir)
		case <-time.After(20 * time.Millisecond):
		}
	}
	r.mark(what)
	return nil
}

// ok tells whether a GET answers 200. Connections that are refused are part of every start.
func (r *run) ok(url string) bool {
	response, err := r.client.Get(url)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}

// get decodes a list from the API server; a failure leaves it empty, the caller asks again or does without.
func (r *run) get(path string, list any) {
	response, err := r.client.Get(r.server + path)
	if err != nil {
		return
	}
	defer response.Body.Close()
	_ = json.NewDecoder(response.Body).Decode(list)
}

// schedulable counts the nodes that are Ready and have lost the taint every node is born with.
func (r *run) schedulable() int {
	var nodes struct {
		Items []struct {
			Spec   struct{ Taints []any }
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	r.get("/api/v1/nodes", &nodes)
	count := 0
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" && len(n.Spec.Taints) == 0 {
				count++
			}
		}
	}
	return count
}

// removeVolumes removes the folders that the hostPath provisioner made for this run. They lie in one place for all
// runs on a machine, so only those that this cluster's volumes name are touched.
func (r *run) removeVolumes() {
	var volumes struct {
		Items []struct {
			Spec struct {
				HostPath struct{ Path string }
			}
		}
	}
	r.get("/api/v1/persistentvolumes", &volumes)
	for _, v := range volumes.Items {
		if path := v.Spec.HostPath.Path; filepath.Dir(filepath.Clean(path)) == hostPathRoot {
			_ = os.RemoveAll(path)
		}
	}
	_ = os.Remove(hostPathRoot) // fails while another run has volumes, as it should
}

// freePort asks the kernel for a port that is free now. Another process may take it first; the harness tries twice.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}
