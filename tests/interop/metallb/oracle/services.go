package main

import (
	"errors"
	"net"
	"sort"
	"strings"

	"go.universe.tf/metallb/internal/allocator"
	"go.universe.tf/metallb/internal/allocator/k8salloc"
	"go.universe.tf/metallb/internal/config"
	"go.universe.tf/metallb/internal/ipfamily"
	corev1 "k8s.io/api/core/v1"
)

// What a Service gets: addresses, or why it gets none.
type assignment struct {
	Addresses []string `json:"addresses"`
	Error     string   `json:"error,omitempty"`
}

// Gives addresses to new Services, one after the other, by MetalLB's allocator.
func assign(pools *config.Pools, services []corev1.Service) []assignment {
	addresses := allocator.New(func(string) {})
	addresses.SetPools(pools)
	assigned := make([]assignment, 0, len(services))
	for i := range services {
		given, err := request(addresses, &services[i])
		one := assignment{Addresses: []string{}}
		if err != nil {
			one.Error = err.Error()
		}
		for _, address := range given {
			one.Addresses = append(one.Addresses, address.String())
		}
		sort.Strings(one.Addresses)
		assigned = append(assigned, one)
	}
	return assigned
}

// A Service asks for addresses, for a pool, or for neither.
func request(addresses *allocator.Allocator, service *corev1.Service) ([]net.IP, error) {
	const prefix = "metallb.io/"
	name := service.Namespace + "/" + service.Name
	ports, backend := k8salloc.Ports(service), k8salloc.BackendKey(service)
	sharing := service.Annotations[prefix+"allow-shared-ip"]
	pool := service.Annotations[prefix+"address-pool"]
	family, err := ipfamily.ForService(service)
	if err != nil {
		return nil, err
	}
	var wanted []net.IP
	for _, text := range strings.Split(service.Annotations[prefix+"loadBalancerIPs"], ",") {
		if address := net.ParseIP(text); address != nil {
			wanted = append(wanted, address)
		}
	}
	if len(wanted) == 0 {
		if pool != "" {
			return addresses.AllocateFromPool(name, service, family, pool, ports, sharing, backend)
		}
		return addresses.Allocate(name, service, family, ports, sharing, backend)
	}
	asked, err := ipfamily.ForAddressesIPs(wanted)
	if err != nil {
		return nil, err
	}
	if asked != family {
		return nil, errors.New("the addresses are not of the families of the Service")
	}
	if err := addresses.Assign(name, service, wanted, ports, sharing, backend); err != nil {
		return nil, err
	}
	if pool != "" && addresses.Pool(name) != pool {
		addresses.Unassign(name)
		return nil, errors.New("the addresses are not in the pool that is asked for")
	}
	return wanted, nil
}
