package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilexec "k8s.io/utils/exec"
)

const (
	streamIdle     = 4 * time.Hour
	streamCreation = 30 * time.Second
)

// busybox finds a busybox for the roots of containers; it has to be a static one, for there are no libraries.
func busybox() ([]byte, error) {
	var errs error
	for _, path := range []string{os.Getenv("TESTCLUSTER_BUSYBOX"), "/bin/busybox", "/usr/bin/busybox"} {
		if path == "" {
			continue
		}
		program, err := os.ReadFile(path)
		if err == nil {
			return program, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// serve opens the kubelet's port. HTTP/1.1 only: exec and port-forward upgrade the connection to SPDY.
func (n *fakeNode) serve(cert, key string) (int, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/containerLogs/{ns}/{pod}/{container}", n.logs)
	mux.HandleFunc("/exec/{ns}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := newStreamOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		serveExec(w, r, n, podKey(r), "", r.PathValue("container"), r.URL.Query()["command"], options,
			streamIdle, streamCreation, streamProtocols)
	})
	mux.HandleFunc("/attach/{ns}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := newStreamOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		serveAttach(w, r, n, podKey(r), "", r.PathValue("container"), options,
			streamIdle, streamCreation, streamProtocols)
	})
	mux.HandleFunc("/portForward/{ns}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := newForwardOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		servePortForward(w, r, n, podKey(r), "", options, streamIdle, streamCreation, forwardedProtocols)
	})
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.lost.Load() {
				panic(http.ErrAbortHandler) // a lost node hangs up
			}
			mux.ServeHTTP(w, r)
		}),
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go func() {
		if err := server.ServeTLS(listener, cert, key); err != nil {
			fmt.Fprintf(os.Stderr, "kubelet server: %v\n", err)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func podKey(r *http.Request) string { return r.PathValue("ns") + "/" + r.PathValue("pod") }

// pod returns the pod the way this node knows it.
func (n *fakeNode) pod(key string) (*corev1.Pod, error) {
	object, exists, err := n.pods.GetByKey(key)
	if err != nil {
		return nil, err
	}
	pod, ok := object.(*corev1.Pod)
	if !exists || !ok {
		return nil, fmt.Errorf("pod %q not found", key)
	}
	return pod, nil
}

// logs answers what a kubelet would: the lines of the annotation, or why there are none.
func (n *fakeNode) logs(w http.ResponseWriter, r *http.Request) {
	pod, err := n.pod(podKey(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	name, query := r.PathValue("container"), r.URL.Query()
	text, began, err := logText(pod, name, query.Get("previous") == "true")
	if gone := (goneError{}); errors.As(err, &gone) {
		_, _ = io.WriteString(w, gone.Error())
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if lines, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		text = tail(text, lines)
	}
	if query.Get("timestamps") == "true" {
		stamped := ""
		for line := range strings.Lines(text) {
			stamped += began.UTC().Format(time.RFC3339Nano) + " " + line
		}
		text = stamped
	}
	if limit, err := strconv.Atoi(query.Get("limitBytes")); err == nil && limit < len(text) {
		text = text[:max(limit, 0)]
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, text)
	if query.Get("follow") != "true" {
		return
	}
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	for n.runs(podKey(r), pod, name) { // a follower hears the end of the container
		select {
		case <-r.Context().Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// runs tells whether a container of this very pod runs.
func (n *fakeNode) runs(key string, was *corev1.Pod, container string) bool {
	pod, err := n.pod(key)
	return err == nil && pod.UID == was.UID &&
		(find(pod.Status.ContainerStatuses, container).State.Running != nil || find(pod.Status.InitContainerStatuses, container).State.Running != nil)
}

// goneError is a log that was removed with its container. A kubelet finds that out after it has begun to answer
// (kubelet_pods.go, GetKubeletContainerLogs), so kubectl prints the error as if it were the log, and succeeds.
type goneError struct{ containerID string }

func (e goneError) Error() string { return "unable to retrieve container logs for " + e.containerID }

// logText is what a container has written, and since when; the errors are kubelet's.
func logText(pod *corev1.Pod, container string, previous bool) (string, time.Time, error) {
	status := find(pod.Status.ContainerStatuses, container)
	if status.Image == "" {
		status = find(pod.Status.InitContainerStatuses, container)
	}
	if status.Image == "" {
		return "", time.Time{}, fmt.Errorf("container %q in pod %q is not available", container, pod.Name)
	}
	b := behaviourOf(pod)
	own := "hello from " + pod.Name + "/" + container + "\n"
	if b.log != "" && (b.container == "" || b.container == container) {
		own = b.log
	}
	last := status.LastTerminationState.Terminated
	if last != nil && last.Reason == "StartError" && status.State.Running == nil {
		own = "" // what never ran wrote nothing
	}
	switch {
	case previous && last == nil:
		return "", time.Time{}, fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
	case previous && status.State.Terminated != nil:
		// The run before the one that has ended was removed at that end (pod_container_deletor.go).
		return "", time.Time{}, goneError{last.ContainerID}
	case previous:
		return own, last.StartedAt.Time, nil
	case status.State.Running != nil:
		return own, status.State.Running.StartedAt.Time, nil
	case status.State.Terminated != nil:
		return own, status.State.Terminated.StartedAt.Time, nil
	case last != nil:
		return own, last.StartedAt.Time, nil
	}
	reason := status.State.Waiting.Reason
	switch reason {
	case "ErrImagePull":
		reason = "image can't be pulled"
	case "ImagePullBackOff":
		reason = "trying and failing to pull image"
	}
	return "", time.Time{}, fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod.Name, reason)
}

// exitError is an exit status that remotecommand understands: it asserts the type, so the error must not be wrapped.
type exitError struct {
	error
	code int
}

var _ utilexec.ExitError = exitError{}

func (e exitError) ExitStatus() int { return e.code }
func (e exitError) Exited() bool    { return true }
func (e exitError) String() string  { return e.Error() }

// ExecInContainer runs a command of busybox in a root of the container's own, or answers what the annotations say.
func (n *fakeNode) ExecInContainer(ctx context.Context, key string, _ podUID, container string, command []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan terminalSize, _ time.Duration) error {
	pod, err := n.pod(key)
	if err != nil {
		return err
	}
	if !n.runs(key, pod, container) {
		return fmt.Errorf("container not found (%q)", container)
	}
	if b := behaviourOf(pod); b.exec != nil {
		if in != nil {
			_, _ = io.Copy(io.Discard, in)
		}
		_, _ = io.WriteString(out, *b.exec)
		if b.execCode != 0 {
			return exitError{fmt.Errorf("command terminated with exit code %d", b.execCode), b.execCode}
		}
		return nil
	}
	root, err := n.containerRoot(key, container)
	if err != nil {
		n.execWarning.Do(func() { fmt.Fprintf(os.Stderr, "exec is not supported here: %v\n", err) })
		return err
	}
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Dir = "/"
	c.Env = []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin", "HOME=/root", "HOSTNAME=" + pod.Name}
	// Its own session: a command that kills its process group must not kill this node.
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Setsid: true}
	c.Path, c.Err = command[0], nil // looked up in the container, not on this machine
	if !strings.Contains(command[0], "/") {
		c.Path = "/bin/" + command[0]
	}
	c.Stdout, c.Stderr = out, errs
	if in != nil {
		pipe, err := c.StdinPipe()
		if err != nil {
			return err
		}
		go copyAndClose(pipe, in)
	}
	if err := c.Start(); err != nil {
		return exitError{fmt.Errorf("exec: %w", err), 127}
	}
	err = c.Wait()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		code := failed.ExitCode()
		if status, ok := failed.Sys().(syscall.WaitStatus); ok && code < 0 {
			code = 128 + int(status.Signal())
		}
		return exitError{err, code}
	}
	return err
}

// containerRoot makes the container's root at the first exec: most pods never see one.
func (n *fakeNode) containerRoot(key, container string) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("the fake node is not root, so it cannot change a root")
	}
	program, err := busybox()
	if err != nil {
		return "", fmt.Errorf("the fake node has no static busybox: %w", err)
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	root := filepath.Join(n.podRoot(key), container)
	if _, err := os.Stat(filepath.Join(root, "bin/sh")); err == nil {
		return root, nil
	}
	for _, folder := range []string{"bin", "tmp", "root", "etc", "dev", "var"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), program, 0o755); err != nil {
		return "", err
	}
	install := exec.Command("/bin/busybox", "--install", "-s", "/bin")
	install.Dir = "/"
	install.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("busybox --install: %w: %s", err, output)
	}
	return root, nil
}

// AttachContainer gives back what it is given, until that ends.
func (n *fakeNode) AttachContainer(_ context.Context, _ string, _ podUID, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan terminalSize) error {
	if _, err := io.WriteString(out, "attached\n"); err != nil || in == nil {
		return err
	}
	_, err := io.Copy(out, in)
	return err
}

// PortForward connects to a port of this machine: the pod's, or the one the annotation puts in its place.
func (n *fakeNode) PortForward(_ context.Context, key string, _ podUID, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	pod, err := n.pod(key)
	if err != nil {
		return err
	}
	if other, mapped := behaviourOf(pod).forward[port]; mapped {
		port = other
	}
	connection, err := net.Dial("tcp", net.JoinHostPort(loopback, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	_, err = io.Copy(stream, connection)
	return err
}
