package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// control is the holder of the control plane's network, in which the bridge is, and of the mounts that all share.
const control = "control"

// hiddenFolders are empty ones of their own for the cluster's processes. What they write to fixed places below them
// (sockets of shims, results of CNI, links to logs) and every mount that they make is seen by no one else, and ends with
// the last of them: after a crash there is nothing to unmount.
var hiddenFolders = []string{"/run", "/var/lib", "/var/log"}

// A holder is a process that sleeps in new namespaces and so keeps them. Named namespaces (`ip netns add`) would each be
// a mount on the machine, which a crash leaves behind.
func (c cluster) holders() []process {
	mounts := "mount --make-rshared /"
	for _, folder := range hiddenFolders {
		mounts += " && mount -t tmpfs -o mode=755 tmpfs " + folder
	}
	all := []process{{
		name: control,
		args: []string{"unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", mounts + " && exec sleep infinity"},
	}}
	for _, n := range nodes() {
		all = append(all, process{name: n.name, args: []string{"unshare", "--net", "sleep", "infinity"}})
	}
	return all
}

// held tells whether all holders live, and hold what this program would have them hold. If one does not, what stood in
// its namespaces is lost.
func (c cluster) held() bool {
	for _, h := range c.holders() {
		digest, err := h.digest()
		if r, alive := c.running(h.name); err != nil || !alive || r.Digest != digest {
			return false
		}
	}
	return true
}

// hold starts the holders and waits until each has its namespaces and they theirs mounts.
func (c cluster) hold() error {
	for _, h := range c.holders() {
		if err := c.start(h); err != nil {
			return err
		}
		err := poll(10*time.Second, "the namespaces of "+h.name+" (see "+c.logFile(h.name)+")", func() bool {
			r, alive := c.running(h.name)
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", r.PID))
			return alive && strings.TrimSpace(string(name)) == "sleep"
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// nsenter is the command line that runs another in a holder's network, and on request among the cluster's mounts.
func (c cluster) nsenter(holder string, mounts bool) ([]string, error) {
	r, alive := c.running(holder)
	if !alive {
		return nil, errNotUp
	}
	args := []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", r.PID)}
	if mounts {
		keeper, alive := c.running(control)
		if !alive {
			return nil, errNotUp
		}
		args = append(args, fmt.Sprintf("--mount=/proc/%d/ns/mnt", keeper.PID))
	}
	return append(args, "--"), nil
}

var errNotUp = errors.New("the cluster is not up: run `make cluster-up`")

// script runs shell lines in a holder's network, and stops at the first that fails.
func (c cluster) script(holder, lines string) error {
	into, err := c.nsenter(holder, false)
	if err != nil {
		return err
	}
	command := exec.Command(into[0], append(into[1:], "sh", "-eu", "-c", lines)...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("in the network of %s: %w: %s", holder, err, strings.TrimSpace(string(output)))
	}
	return nil
}

// makeNetwork joins the nodes to the control plane's bridge. The last line of each part is what tells that it is whole,
// so that a killed run is made good by the next.
func (c cluster) makeNetwork() error {
	bridge := []string{
		"ip link set lo up",
		"ip link show bridge >/dev/null 2>&1 || ip link add bridge type bridge",
		"ip address replace " + controlAddress + "/24 dev bridge",
		"ip link set bridge up",
		"echo 1 >/proc/sys/net/ipv4/ip_forward",
		// A process here reaches a Service through the first node, whose kube-proxy rewrites and masquerades it.
		"ip route replace " + serviceNetwork + " via " + nodes()[0].address,
	}
	for _, n := range nodes() {
		holder, alive := c.running(n.name)
		if !alive {
			return errNotUp
		}
		// Both ends are made in their namespaces at once: the machine itself never sees a link.
		bridge = append(bridge,
			fmt.Sprintf("ip link show %s >/dev/null 2>&1 || ip link add %s type veth peer name eth0 netns %d", n.name, n.name, holder.PID),
			fmt.Sprintf("ip link set %s master bridge up", n.name),
			fmt.Sprintf("ip route replace %s via %s", n.pods, n.address))
	}
	if err := c.script(control, strings.Join(bridge, "\n")); err != nil {
		return err
	}
	for _, n := range nodes() {
		if err := c.script(n.name, nodeNetworkScript(n)); err != nil {
			return err
		}
	}
	return nil
}

func nodeNetworkScript(n node) string {
	lines := []string{
		"ip link set lo up",
		"ip address replace " + n.address + "/24 dev eth0",
		"ip link set eth0 up",
		"echo 1 >/proc/sys/net/ipv4/ip_forward",
		// Answers of a Service's pod on the same bridge must pass the rewrite too.
		"echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables",
		// Without a route a packet to a Service's address would be refused before kube-proxy's rules see it.
		"ip route replace default via " + controlAddress,
	}
	for _, other := range nodes() {
		if other.name != n.name {
			lines = append(lines, "ip route replace "+other.pods+" via "+other.address)
		}
	}
	return strings.Join(lines, "\n")
}

// link cuts a node off, or joins it again, at the bridge's end: the node sees its cable pulled.
func link(c cluster, args []string) error {
	if len(args) != 2 || (args[0] != "cut" && args[0] != "heal") {
		return errUsage
	}
	n, err := findNode(args[1])
	if err != nil {
		return err
	}
	return c.script(control, "ip link set "+n.name+" "+map[string]string{"cut": "down", "heal": "up"}[args[0]])
}

// enter becomes a command that runs in the cluster's network, with the machine's own files.
func enter(c cluster, args []string) error {
	holder := control
	if len(args) > 1 && args[0] == "--node" {
		n, err := findNode(args[1])
		if err != nil {
			return err
		}
		holder, args = n.name, args[2:]
	}
	if len(args) == 0 {
		return errUsage
	}
	into, err := c.nsenter(holder, false)
	if err != nil {
		return err
	}
	program, err := exec.LookPath(into[0])
	if err != nil {
		return fmt.Errorf("%w: run `bash tests/deps.sh cluster`", err)
	}
	// So that the command finds kubectl and helm, and they the cluster.
	os.Setenv("PATH", c.path("bin")+":"+os.Getenv("PATH"))
	if os.Getenv("KUBECONFIG") == "" {
		os.Setenv("KUBECONFIG", c.kubeconfig("admin"))
	}
	return syscall.Exec(program, append(into, args...), os.Environ())
}

// dial connects from within a holder's network.
func (c cluster) dial(ctx context.Context, holder, address string) (net.Conn, error) {
	r, alive := c.running(holder)
	if !alive {
		return nil, errNotUp
	}
	namespace, err := os.Open("/proc/" + strconv.Itoa(r.PID) + "/ns/net")
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	type outcome struct {
		connection net.Conn
		err        error
	}
	done := make(chan outcome, 1)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and no other one runs in the wrong network.
		runtime.LockOSThread()
		if _, _, errno := syscall.RawSyscall(sysSetns, namespace.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
			done <- outcome{err: fmt.Errorf("cannot enter the network of %s: %w", holder, errno)}
			return
		}
		// A literal address is connected to by this goroutine itself, so in this thread.
		connection, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", address)
		done <- outcome{connection, err}
	}()
	result := <-done
	return result.connection, result.err
}
