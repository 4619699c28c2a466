// kubebox: kube-apiserver, kube-controller-manager, kube-scheduler and kubectl in one binary, chosen by argv[0] or the first argument.
// One link instead of four halves build time and disk; etcd stays a binary of its own because it needs 40 MB instead of 120 then.
package main

import (
	"os"
	"path/filepath"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	n := filepath.Base(os.Args[0])
	if n == "kubebox" && len(os.Args) > 1 {
		n, os.Args = os.Args[1], os.Args[1:]
	}
	switch n {
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(kcm.NewControllerManagerCommand()))
	case "kube-scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "kubectl":
		if cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()) != nil {
			os.Exit(1)
		}
	default:
		os.Stderr.WriteString("unknown applet " + n + "\n")
		os.Exit(2)
	}
}
