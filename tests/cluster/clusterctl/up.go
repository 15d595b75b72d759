package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// stage is one step of the way up, which an earlier run may have done already.
type stage struct {
	name string
	work func(context.Context) error
}

// up brings the cluster up, and tells how long each stage took. Every stage does only what is not done yet.
func up(ctx context.Context, c cluster) error {
	began := time.Now()
	if !c.held() {
		// Nothing of a cluster without its namespaces is of use: what a crash, or a restart of the machine, left goes first.
		if err := c.clear(); err != nil {
			return err
		}
		if err := os.RemoveAll(c.path(logsDir)); err != nil {
			return err
		}
	}
	for _, s := range c.stages() {
		if err := ctx.Err(); err != nil {
			return errors.New("stopped; `make cluster-up` goes on from here, `make cluster-down` removes it")
		}
		started := time.Now()
		if err := s.work(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Printf("%5.1f s  %s (%.1f s)\n", time.Since(began).Seconds(), s.name, time.Since(started).Seconds())
	}
	fmt.Print(c.manual())
	return nil
}

func (c cluster) stages() []stage {
	return []stage{
		{"certificates and configuration", func(context.Context) error { return c.prepare() }},
		{"namespaces", func(context.Context) error { return c.hold() }},
		{"network", func(context.Context) error { return c.makeNetwork() }},
		{"data store, container runtimes", c.startFoundation},
		{"API server", func(ctx context.Context) error { return c.startWell(ctx, c.apiServer()) }},
		{"sandbox image", c.loadPause},
		{"roles, storage class", func(context.Context) error {
			_, err := c.kubectl("apply", "--server-side", "--force-conflicts", "-f", c.path("objects.yaml"))
			return err
		}},
		{"controllers, names, kubelets, proxies", c.startRest},
		{"nodes are Ready", c.waitForNodes},
	}
}

// prepare writes every file that a component reads.
func (c cluster) prepare() error {
	for _, folder := range []string{c.path(logsDir), c.path("processes")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := c.makeCertificates(); err != nil {
		return err
	}
	if err := c.writeControlConfiguration(); err != nil {
		return err
	}
	for _, n := range nodes() {
		if err := c.writeNodeConfiguration(n); err != nil {
			return err
		}
		if err := os.MkdirAll(c.path(n.name, "volumes"), 0o755); err != nil {
			return err
		}
	}
	if err := c.writeCommands(); err != nil {
		return err
	}
	return c.makeNodeGroups()
}

// startFoundation starts what needs nothing else. The runtimes come up while the API server does.
func (c cluster) startFoundation(ctx context.Context) error {
	for _, n := range nodes() {
		if err := c.start(c.runtime(n).process); err != nil {
			return err
		}
	}
	return c.startWell(ctx, c.dataStore())
}

// startRest starts everything that needs the API server, all at once, and waits for each.
func (c cluster) startRest(ctx context.Context) error {
	if err := c.rememberSettings(); err != nil {
		return err
	}
	all := c.controllers()
	for _, n := range nodes() {
		all = append(all, c.agents(n)...)
	}
	return c.startWell(ctx, all...)
}

// startWell starts components and waits until each says that it is well.
func (c cluster) startWell(ctx context.Context, all ...component) error {
	for _, p := range all {
		if err := c.start(p.process); err != nil {
			return err
		}
	}
	for _, p := range all {
		var ill string
		err := poll(60*time.Second, p.name, func() bool {
			ill = c.well(p)
			return ill == "" || ill == "ended" || ctx.Err() != nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || ill != "" {
			return c.told(p, ill)
		}
	}
	return nil
}

// told says what is wrong with a component, and the last it said itself.
func (c cluster) told(p component, ill string) error {
	return fmt.Errorf("%s %s; the end of %s:\n%s", p.name, ill, c.logFile(p.name), c.lastLines(p.name, 8))
}

// loadPause gives every node the image of the container that holds a pod's namespaces.
func (c cluster) loadPause(ctx context.Context) error {
	for _, n := range nodes() {
		if c.hasImage(ctx, n, pauseImage) {
			continue
		}
		// A runtime that was just started answers once its socket is there.
		runtime, ill := c.runtime(n), ""
		var last error
		err := poll(30*time.Second, "the runtime of "+n.name, func() bool {
			ill = c.well(runtime)
			last = c.importImage(ctx, n, c.built("pause", "pause.tar"))
			return last == nil || ill != "" || errors.Is(last, os.ErrNotExist) || ctx.Err() != nil
		})
		if ill != "" {
			return c.told(runtime, ill)
		}
		if err := errors.Join(err, last); err != nil {
			return err
		}
	}
	return nil
}

// waitForNodes waits until pods can run: all nodes are Ready, and pods can be made in the default namespace.
func (c cluster) waitForNodes(ctx context.Context) error {
	client, err := c.apiClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var missing string
	err = poll(60*time.Second, "Ready", func() bool {
		var list nodeList
		if err := ask(client, "/api/v1/nodes", &list); err != nil {
			missing = err.Error()
		} else {
			missing = strings.Join(list.notReady(), "; ")
		}
		if missing == "" {
			if err := ask(client, "/api/v1/namespaces/default/serviceaccounts/default", &struct{}{}); err != nil {
				missing = "the default service account is not made yet: " + err.Error()
			}
		}
		return missing == "" || ctx.Err() != nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s (see %s)", err, missing, c.path(logsDir))
	}
	return ctx.Err()
}
