// Command clusterctl brings up a real three-node Kubernetes cluster on one machine, for tests, and takes it down again.
//
// It starts the components that build.sh built, each in a namespace of its node, and keeps everything below one ignored
// folder. It uses Go's standard library alone; kubectl applies the few objects that a new cluster needs. Deliberately
// absent: upgrades, more than one control plane, and state that outlives `down`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: clusterctl VERB
  up                     bring the cluster up, or mend it; prints how to use it
  down                   end every process of it and remove what it made, also after a crash
  status                 nodes, the health of each component, where the logs are
  load FILE.tar...       import images into every node
  link cut|heal NODE     cut a node's network off, or join it again
  enter [--node NODE] COMMAND...   run a command in the control plane's (or a node's) network`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "clusterctl:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New(usage)

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	if os.Geteuid() != 0 {
		return errors.New("namespaces and cgroups need root: run it as root")
	}
	cluster, err := findCluster()
	if err != nil {
		return err
	}
	switch verb, rest := args[0], args[1:]; verb {
	case "up":
		return locked(cluster, func() error { return up(ctx, cluster) })
	case "down":
		return locked(cluster, func() error { return down(cluster) })
	case "status":
		return status(ctx, cluster)
	case "load":
		return load(ctx, cluster, rest)
	case "link":
		return link(cluster, rest)
	case "enter":
		return enter(cluster, rest)
	default:
		return fmt.Errorf("no verb is named %q\n%w", verb, errUsage)
	}
}

// locked keeps two runs of up and down from working at once. The kernel drops the lock when its holder is killed.
func locked(c cluster, work func() error) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(c.path(lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		fmt.Println("waiting for another clusterctl to finish")
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
			return fmt.Errorf("cannot lock %s: %w", file.Name(), err)
		}
	}
	return work()
}
