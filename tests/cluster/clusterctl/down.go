package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// down ends the cluster and tells how long it took. Its logs stay until the next cluster starts.
func down(c cluster) error {
	began := time.Now()
	guests := c.guests()
	if err := c.clear(); err != nil {
		return err
	}
	if err := c.leftovers(); err != nil {
		return err
	}
	for _, guest := range guests {
		fmt.Println("still running in what was the cluster's network, not started by it:", guest)
	}
	fmt.Printf("%5.1f s  the cluster is down; nothing of it runs (its logs: %s)\n", time.Since(began).Seconds(), c.path(logsDir))
	return nil
}

// clear ends every process of the cluster and removes all that it made but the logs. It trusts no record: what a killed
// run did not write down is found in the cgroups, whose names come from the folder's path.
func (c cluster) clear() error {
	// The kubelets first, or they would start again what is ended here.
	for _, n := range nodes() {
		if err := c.end("kubelet." + n.name); err != nil {
			return err
		}
	}
	// The rest in any order: nothing of a test cluster's state outlives it. Mounts, links, addresses and rules end with
	// the namespaces, and those with the last process in them.
	if err := killGroup(c.id); err != nil {
		return err
	}
	if err := c.removeGroups(); err != nil {
		return err
	}
	if err := c.restoreSettings(); err != nil {
		return err
	}
	return c.removeFiles()
}

// removeFiles removes everything in the cluster's folder but its lock and its logs. The record of the machine's settings
// goes with it, so this comes after they were put back.
func (c cluster) removeFiles() error {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == lockFile || entry.Name() == logsDir {
			continue
		}
		if err := os.RemoveAll(c.path(entry.Name())); err != nil {
			return fmt.Errorf("cannot remove %s: %w", c.path(entry.Name()), err)
		}
	}
	return nil
}

// leftovers looks for what should be gone.
func (c cluster) leftovers() error {
	var found []string
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, c.dir+"/") {
			found = append(found, "the mount "+line)
		}
	}
	trees, err := everyHierarchy()
	if err != nil {
		return err
	}
	for _, tree := range trees {
		if _, err := os.Stat(filepath.Join(tree.mount, c.id)); err == nil {
			found = append(found, "the cgroup "+filepath.Join(tree.mount, c.id))
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("left behind:\n  %s", strings.Join(found, "\n  "))
	}
	return nil
}

// guests are the processes in the cluster's networks that it did not start: a test that was run by `enter`. They are
// not ended here, and keep their namespace until they end.
func (c cluster) guests() []string {
	own := map[string]bool{}
	for _, h := range c.holders() {
		if r, alive := c.running(h.name); alive {
			if space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", r.PID)); err == nil {
				own[space] = true
			}
		}
	}
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range processes {
		space, err := os.Readlink(folder + "/ns/net")
		if err != nil || !own[space] {
			continue
		}
		groups, _ := os.ReadFile(folder + "/cgroup")
		name, _ := os.ReadFile(folder + "/comm")
		if !strings.Contains(string(groups), "/"+c.id+"/") {
			found = append(found, filepath.Base(folder)+" "+strings.TrimSpace(string(name)))
		}
	}
	return found
}
