package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// status prints the nodes, the health of every component, and where to look further. It fails if one is not well.
func status(_ context.Context, c cluster) error {
	if !c.held() {
		return errNotUp
	}
	list, err := c.kubectl("get", "nodes", "-o", "wide")
	if err != nil {
		list = "no nodes are known: " + err.Error() + "\n"
	}
	fmt.Print(list, "\n")
	ill := 0
	for _, p := range c.components() {
		health := c.well(p)
		if health == "" {
			health = "well"
		} else {
			ill++
		}
		r, _ := c.running(p.name)
		fmt.Printf("%-26s %-16s pid %-8d in %s\n", p.name, health, r.PID, p.within)
	}
	fmt.Print(c.manual())
	if ill > 0 {
		return fmt.Errorf("%d components are not well: see their logs in %s; `make cluster-up` starts those that ended", ill, c.path(logsDir))
	}
	return err
}

// manual tells how to use the cluster.
func (c cluster) manual() string {
	r, _ := c.running(control)
	lines := []string{
		"",
		"The API server is " + apiServerURL + ", in the cluster's own network. These commands enter it:",
		"  kubectl, helm         " + c.path("bin", "kubectl") + ", " + c.path("bin", "helm"),
		"  any other program     " + c.path("bin", "enter") + " COMMAND...   (sets KUBECONFIG)",
		fmt.Sprintf("                        = nsenter --net=/proc/%d/ns/net COMMAND...", r.PID),
		"  KUBECONFIG            " + c.kubeconfig("admin"),
		"  images                tests/cluster/load-image FILE.tar   (imagePullPolicy: Never)",
		"  cut a node off        tests/cluster/link cut node-2; tests/cluster/link heal node-2",
		"  volumes               " + c.path("node-N", "volumes"),
		"  logs                  " + c.path(logsDir) + "   (audit.log: who asked the API for what)",
		"",
	}
	return strings.Join(lines, "\n")
}

// writeCommands writes the commands that enter the cluster's network. They go through this program, which knows whether
// the number that it wrote down still is that of the cluster's process.
func (c cluster) writeCommands() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	commands := map[string]string{
		"enter":   "",
		"kubectl": quote(c.built("kubernetes", "kubectl")),
		"helm":    quote(c.built("helm", "helm")),
	}
	for name, program := range commands {
		text := fmt.Sprintf("#!/bin/sh\nexec %s enter %s \"$@\"\n", quote(self), program)
		if err := writeFile(c.path("bin", name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// quote makes one word of a path for a shell.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }
