package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	_ "k8s.io/client-go/plugin/pkg/client/auth"           // kubectl: `exec` and `oidc` users of a kubeconfig
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics on /metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info on /metrics

	"landfall/testbed/control-plane/multicall"
)

// components is everything that the binary can be, in the order in which a control plane starts.
var components = []multicall.Program{
	{Name: "etcd", Run: runEtcd},
	{Name: "kube-apiserver", Run: func() int { return cli.Run(apiserver.NewAPIServerCommand()) }},
	{Name: "kube-controller-manager", Run: func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) }},
	{Name: "kube-scheduler", Run: func() int { return cli.Run(scheduler.NewSchedulerCommand()) }},
	{Name: "kube-proxy", Run: func() int { return cli.Run(proxy.NewProxyCommand()) }},
	{Name: "kubectl", Run: runKubectl},
}

// runEtcd returns only when the member has stopped in good order; on a fatal error etcd ends the process by itself.
func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func runKubectl() int {
	// kubectl builds its command tree (plugins, .kuberc) before it parses flags, so `-v` must be applied first.
	// A malformed value is reported by the real parser a moment later.
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints the error and ends the process with kubectl's exit code for it
		return 1
	}
	return 0
}
