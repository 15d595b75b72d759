package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hierarchy is one mounted tree of cgroups: several on a machine with version 1, one with version 2.
type hierarchy struct {
	mount string
	v2    bool
	names string // the mount's options, which name a version 1 tree's controllers
}

// everyHierarchy is each mounted tree, those of version 1 first.
func everyHierarchy() ([]hierarchy, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var v1, v2 []hierarchy
	for _, line := range strings.Split(string(text), "\n") {
		switch fields := strings.Fields(line); {
		case len(fields) < 4:
		case fields[2] == "cgroup":
			v1 = append(v1, hierarchy{mount: fields[1], names: fields[3]})
		case fields[2] == "cgroup2":
			v2 = append(v2, hierarchy{mount: fields[1], v2: true})
		}
	}
	return append(v1, v2...), nil
}

// hierarchies are the trees that containers are put into. On a machine with both versions the tree of version 2 has no
// controllers and is none of them, although runc leaves a folder there as well: whoever cleans up looks at every tree.
func hierarchies() ([]hierarchy, error) {
	all, err := everyHierarchy()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("no cgroup tree is mounted: containers need one below /sys/fs/cgroup")
	}
	if all[0].v2 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(tree hierarchy) bool { return tree.v2 }), nil
}

// tracked is the tree whose cgroups tell the cluster's processes from all others: that of `pids`, which every kernel
// that runs containers has.
func tracked() (hierarchy, error) {
	trees, err := hierarchies()
	if err != nil {
		return hierarchy{}, err
	}
	for _, tree := range trees {
		if tree.v2 || strings.Contains(tree.names, "pids") {
			return tree, nil
		}
	}
	return hierarchy{}, errors.New("the cgroup controller 'pids' is not mounted: mount it below /sys/fs/cgroup")
}

// makeNodeGroups makes the cgroup below which each kubelet keeps its pods, in every tree: two kubelets that shared one
// would end each other's pods as strangers.
func (c cluster) makeNodeGroups() error {
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	for _, tree := range trees {
		for _, n := range nodes() {
			if err := makeGroup(tree, filepath.Join(c.id, n.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// systemGroup is the cgroup of one component, in the tracked tree.
func (c cluster) systemGroup(name string) string { return filepath.Join(c.id, "system", name) }

// makeGroup makes a cgroup and those above it, each ready for members below it.
func makeGroup(tree hierarchy, relative string) error {
	at := tree.mount
	for _, part := range strings.Split(relative, "/") {
		parent := at
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot make the cgroup %s: %w", at, err)
		}
		if err := inherit(tree, parent, at); err != nil {
			return err
		}
	}
	return nil
}

// inherit gives a new cgroup what its version does not give by itself: a cpuset of version 1 starts without any
// processor, and a parent of version 2 hands no controller on unless it is told to.
func inherit(tree hierarchy, parent, child string) error {
	if tree.v2 {
		available, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, controller := range strings.Fields(string(available)) {
			// One that cannot be handed on is missed by whoever needs it, with a better message than could be given here.
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		}
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller's tree
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(child, file), text, 0o644); err != nil {
			return fmt.Errorf("cannot set %s of the cgroup %s: %w", file, child, err)
		}
	}
	return nil
}

// members are the processes in a cgroup and in those below it. A cgroup that is gone has none.
func members(group string) []int {
	var pids []int
	_ = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "cgroup.procs" {
			return nil
		}
		text, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// killGroup kills every process in a cgroup of the tracked tree and in those below it, until none is left.
func killGroup(relative string) error {
	tree, err := tracked()
	if err != nil {
		return err
	}
	group := filepath.Join(tree.mount, relative)
	killed := map[int]uint64{} // process numbers, with the start times that tell them from later ones
	err = poll(20*time.Second, "the end of all processes in "+group, func() bool {
		pids := members(group)
		for _, pid := range pids {
			if _, started, err := processState(pid); err == nil {
				killed[pid] = started
			}
			killMember(pid, relative)
		}
		return len(pids) == 0
	})
	if err != nil {
		return fmt.Errorf("%w: still there are %v", err, members(group))
	}
	awaitGone(killed)
	return nil
}

// awaitGone waits until killed processes are gone from the process table as well. A process leaves its cgroup when it
// begins to end, and holds its namespaces for a moment longer. Whoever inherited it may never collect it: such a zombie
// holds nothing but its number, so it is not waited for without end.
func awaitGone(killed map[int]uint64) {
	_ = poll(3*time.Second, "the end of killed processes", func() bool {
		for pid, then := range killed {
			if _, started, err := processState(pid); err == nil && started == then {
				return false
			}
		}
		return true
	})
}

// killMember kills a process if it is still in the cgroup or below it. The handle is taken before the check: a number
// that changed hands in between names a process outside, and that one is left alone.
func killMember(pid int, relative string) {
	handle, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	defer handle.Release()
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for _, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line+"/", "/"+relative+"/") {
			_ = handle.Kill()
			return
		}
	}
}

// removeGroups removes the cluster's cgroups from every tree, the innermost first. They must be empty of processes.
func (c cluster) removeGroups() error {
	trees, err := everyHierarchy()
	if err != nil {
		return err
	}
	for _, tree := range trees {
		top := filepath.Join(tree.mount, c.id)
		// The kernel keeps a cgroup for a moment after its last process ended.
		err := poll(10*time.Second, "the removal of the cgroup "+top, func() bool {
			var groups []string
			_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					groups = append(groups, path)
				}
				return nil
			})
			for i := len(groups) - 1; i >= 0; i-- {
				_ = os.Remove(groups[i])
			}
			_, err := os.Stat(top)
			return errors.Is(err, fs.ErrNotExist)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
