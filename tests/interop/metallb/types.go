// Package metallb names the packages of MetalLB whose types `./build` turns into CustomResourceDefinitions. It holds
// nothing itself; the imports keep MetalLB in go.mod.
package metallb

import (
	_ "go.universe.tf/metallb/api/v1beta1"
	_ "go.universe.tf/metallb/api/v1beta2"
)
