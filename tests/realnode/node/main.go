// realkubelet is what a node runs of Kubernetes itself: kubelet and kube-proxy, in one binary, and a registry that has no
// image. The control plane is the program of tests/testcluster, which every test builds: the kubelet would make it larger and
// its build slower, and few tests need one.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	// Only the applet that runs is constructed: both register flags and metrics of the whole process.
	applets := map[string]func() *cobra.Command{
		"kubelet":    func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
		"kube-proxy": kubeproxy.NewProxyCommand,
		"registry":   registryCommand,
	}
	if len(os.Args) < 2 || applets[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: realkubelet kubelet|kube-proxy|registry [FLAG...]")
		os.Exit(2)
	}
	os.Args = os.Args[1:]
	os.Exit(cli.Run(applets[os.Args[0]]()))
}
