// testcluster is a real Kubernetes control plane for the tests: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, kubectl and CoreDNS in one binary, and a node that runs no containers but reports whatever a test
// asks for.
//
// One process per component: kube-apiserver and kube-scheduler each claim the process-wide signal handler, and feature
// gates, metrics and log flags are process-wide too. So each component is an applet: this binary under another name.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// applets are constructors: only the applet that runs is built, because building one has side effects on the process.
var applets = map[string]func() *cobra.Command{
	"age":                     ageCommand,
	"coredns":                 corednsCommand,
	"etcd":                    etcdCommand,
	"fakenode":                fakeNodeCommand,
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":                 nil, // see runKubectl
	"up":                      upCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, known := applets[name]; !known && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	if name == "kubectl" {
		runKubectl()
		return
	}
	command := applets[name]
	if command == nil {
		names := make([]string, 0, len(applets))
		for n := range applets {
			names = append(names, n)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "testcluster: no applet %q; there are: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}

// runKubectl does what kubectl's own main does, so that messages, exit codes, plugins and completion are genuine.
func runKubectl() {
	logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) //nolint:errcheck // as upstream: a wrong level is reported later
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
