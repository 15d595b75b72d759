package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pauseImage is the sandbox's image, as images/build.sh names it.
const pauseImage = "localhost/outrigger-test/pause:1"

// load imports images into every node: there is no registry to pull them from.
func load(ctx context.Context, c cluster, files []string) error {
	if len(files) == 0 {
		return errUsage
	}
	for _, file := range files {
		results := make(chan error, nodeCount)
		for _, n := range nodes() {
			go func() { results <- c.importImage(ctx, n, file) }()
		}
		var failed []error
		for range nodes() {
			failed = append(failed, <-results)
		}
		if err := errors.Join(failed...); err != nil {
			return err
		}
		fmt.Printf("loaded %s into %d nodes\n", filepath.Base(file), nodeCount)
	}
	return nil
}

// importImage imports one file into one node. It is given as the standard input, because the file may stand below a
// folder that the cluster's processes see another one of.
func (c cluster) importImage(ctx context.Context, n node, file string) error {
	archive, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("cannot read the image: %w", err)
	}
	defer archive.Close()
	command, err := c.ctr(ctx, n, "images", "import", "-")
	if err != nil {
		return err
	}
	command.Stdin = archive
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot import %s into %s: %w: %s (it must be an OCI archive or a `docker save`)", file, n.name, err, bytes.TrimSpace(output))
	}
	return nil
}

// hasImage tells whether a node has an image of this name.
func (c cluster) hasImage(ctx context.Context, n node, name string) bool {
	command, err := c.ctr(ctx, n, "images", "list", "--quiet")
	if err != nil {
		return false
	}
	output, err := command.Output()
	return err == nil && strings.Contains("\n"+string(output), "\n"+name+"\n")
}

// ctr speaks to a node's containerd, in the namespace of containerd's own that Kubernetes uses.
func (c cluster) ctr(ctx context.Context, n node, args ...string) (*exec.Cmd, error) {
	into, err := c.nsenter(n.name, true)
	if err != nil {
		return nil, err
	}
	all := append(into[1:], c.built("containerd", "ctr"), "--address", n.containerdSocket(), "--namespace", "k8s.io")
	return exec.CommandContext(ctx, into[0], append(all, args...)...), nil
}
