// Command landfall-control-plane is the Kubernetes control plane of Landfall's test bed in one file: etcd,
// kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy and kubectl, each unchanged from its own module.
//
// It is a multi-call binary. The base name under which it is started selects the component (through the symbolic links
// that the build script puts beside it); under any other name, the first argument does:
//
//	kube-apiserver --version
//	landfall-control-plane kube-apiserver --version
//
// A component sees its arguments as if it had been started alone, so all its flags are those of upstream.
// `landfall-control-plane components` prints the names, one a line.
package main

import (
	"fmt"
	"os"

	"landfall/testbed/control-plane/multicall"
)

// exitUsage is the exit code when no component was named (EX_USAGE of sysexits.h).
const exitUsage = 64

func main() {
	component, args, ok := multicall.Select(components, os.Args)
	if ok {
		// Cobra, kubectl's plugin handler and etcd's flag parser read the process's arguments by themselves.
		os.Args = args
		os.Exit(component.Run())
	}
	if len(os.Args) == 2 && os.Args[1] == "components" {
		for _, c := range components {
			fmt.Println(c.Name)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "usage: landfall-control-plane COMPONENT [FLAGS…]")
	fmt.Fprintln(os.Stderr, "       landfall-control-plane components   (lists them)")
	os.Exit(exitUsage)
}
