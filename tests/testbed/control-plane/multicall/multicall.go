// Package multicall decides which of several programs in one binary a process was started as.
package multicall

import "path/filepath"

// Program is one of the programs in the binary.
type Program struct {
	// Name is the base name of argv[0], or the first argument, that selects the program.
	Name string
	// Run is the program's main function. It reads os.Args, which the caller sets to what Select returned, and returns
	// the exit code.
	Run func() int
}

// Select finds the program that a process started with argv is to be, and the arguments which that program must see
// (its own name first). It reports false when argv names none of them.
//
// The base name of argv[0] wins over argv[1]: `kubectl etcd` is a call of kubectl.
func Select(programs []Program, argv []string) (Program, []string, bool) {
	if len(argv) == 0 {
		return Program{}, nil, false
	}
	if p, ok := named(programs, filepath.Base(argv[0])); ok {
		return p, argv, true
	}
	if len(argv) == 1 {
		return Program{}, nil, false
	}
	if p, ok := named(programs, argv[1]); ok {
		return p, argv[1:], true
	}
	return Program{}, nil, false
}

func named(programs []Program, name string) (Program, bool) {
	for _, p := range programs {
		if p.Name == name {
			return p, true
		}
	}
	return Program{}, false
}
