package multicall

import (
	"slices"
	"testing"
)

func TestSelect(t *testing.T) {
	programs := []Program{{Name: "etcd"}, {Name: "kubectl"}}
	cases := []struct {
		title string
		argv  []string
		name  string // empty: no program
		args  []string
	}{
		{"base name of a link", []string{"/cache/kubectl", "get", "pods"}, "kubectl", []string{"/cache/kubectl", "get", "pods"}},
		{"bare name", []string{"etcd"}, "etcd", []string{"etcd"}},
		{"first argument", []string{"/cache/all", "etcd", "--version"}, "etcd", []string{"etcd", "--version"}},
		{"base name wins", []string{"kubectl", "etcd"}, "kubectl", []string{"kubectl", "etcd"}},
		{"only the first argument counts", []string{"all", "-v", "etcd"}, "", nil},
		{"a prefix is not a name", []string{"kubectl-1.34", "kube"}, "", nil},
		{"a path is not a first argument", []string{"all", "/etc/etcd"}, "", nil},
		{"no arguments", []string{"all"}, "", nil},
		{"no argv at all", nil, "", nil},
	}
	for _, c := range cases {
		t.Run(c.title, func(t *testing.T) {
			program, args, ok := Select(programs, c.argv)
			if ok != (c.name != "") || program.Name != c.name || !slices.Equal(args, c.args) {
				t.Errorf("Select(%q) = %q, %q, %v; want %q, %q", c.argv, program.Name, args, ok, c.name, c.args)
			}
		})
	}
}
