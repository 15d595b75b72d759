package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one program of the cluster, and what must be true of a running one for it to be kept.
type process struct {
	name   string   // "kubelet.node-1": names its log, its record and its cgroup
	within string   // the holder whose network it lives in; "" for a holder itself
	args   []string // the program and its arguments
	files  []string // its configuration: a change of one starts it anew
}

// record is what is known of a started process. The start time tells it from another that got its number later.
type record struct {
	PID       int
	StartTime uint64 // clock ticks since boot, field 22 of /proc/PID/stat
	Digest    string // of the command line and the configuration
}

func (c cluster) logFile(name string) string    { return c.path(logsDir, name+".log") }
func (c cluster) recordFile(name string) string { return c.path("processes", name+".json") }

// running is the record of a process that is alive, and whether there is one.
func (c cluster) running(name string) (record, bool) {
	var r record
	text, err := os.ReadFile(c.recordFile(name))
	if err != nil || json.Unmarshal(text, &r) != nil {
		return record{}, false
	}
	started, err := startTime(r.PID)
	return r, err == nil && started == r.StartTime
}

// start starts a process unless it runs already as it should.
//
// The process puts itself into its cgroup before it becomes the program, so that from its first moment `down` finds it
// and all its children there, whether or not this program lived long enough to write its number down.
func (c cluster) start(p process) error {
	digest, err := p.digest()
	if err != nil {
		return fmt.Errorf("cannot read the configuration of %s: %w", p.name, err)
	}
	if r, alive := c.running(p.name); alive && r.Digest == digest {
		return nil
	}
	// An outdated one, or one whose starter was killed before it wrote the number down.
	if err := killGroup(c.systemGroup(p.name)); err != nil {
		return fmt.Errorf("cannot end the former %s: %w", p.name, err)
	}
	pid, err := c.spawn(p)
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	started, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("%s ended at once: see %s", p.name, c.logFile(p.name))
	}
	return writeJSON(c.recordFile(p.name), record{PID: pid, StartTime: started, Digest: digest})
}

// spawn runs the program detached, with its output in its log, in its cgroup and its namespaces.
func (c cluster) spawn(p process) (int, error) {
	tree, err := tracked()
	if err != nil {
		return 0, err
	}
	if err := makeGroup(tree, c.systemGroup(p.name)); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(c.logFile(p.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	args := []string{"-c", `echo 0 >"$0/cgroup.procs" && exec "$@"`, filepath.Join(tree.mount, c.systemGroup(p.name))}
	if p.within != "" {
		into, err := c.nsenter(p.within, true)
		if err != nil {
			return 0, err
		}
		args = append(args, into...)
	}
	command := exec.Command("/bin/sh", append(args, p.args...)...)
	command.Dir = "/"
	command.Stdout, command.Stderr = log, log
	// Nothing of the caller's environment: a proxy or a KUBECONFIG of theirs is not meant for the cluster.
	command.Env = []string{"PATH=" + c.componentPath(), "HOME=" + c.dir}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return 0, err
	}
	pid := command.Process.Pid
	// Reaps it if it ends while this program still runs, so that no zombie is left.
	go command.Wait()
	return pid, nil
}

// componentPath is the PATH of the components: containerd looks for its shim, the shim for runc.
func (c cluster) componentPath() string {
	return filepath.Dir(c.built("containerd", "containerd")) + ":/usr/sbin:/usr/bin:/sbin:/bin"
}

func (p process) digest() (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", p.args)
	for _, file := range p.files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %q\n", file, text)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

// startTime reads when a process started, in clock ticks since boot. A zombie counts as ended.
func startTime(pid int) (uint64, error) {
	state, started, err := processState(pid)
	if err == nil && state == "Z" {
		return 0, errEnded
	}
	return started, err
}

var errEnded = errors.New("the process has ended")

// processState reads a process's state letter and start time, also those of a zombie.
func processState(pid int) (string, uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, errEnded
	}
	// The second field is the name in parentheses, which may itself hold spaces and parentheses.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return "", 0, errEnded
	}
	started, err := strconv.ParseUint(fields[19], 10, 64)
	return fields[0], started, err
}

// end kills one recorded process, if it still is the one that was recorded.
func (c cluster) end(name string) error {
	r, alive := c.running(name)
	if !alive {
		return nil
	}
	// A handle on the process, not on its number: between the check and the signal the number cannot change hands.
	handle, err := os.FindProcess(r.PID)
	if err != nil {
		return nil
	}
	defer handle.Release()
	if _, still := c.running(name); still {
		_ = handle.Kill()
	}
	return poll(10*time.Second, "the end of "+name, func() bool {
		_, alive := c.running(name)
		return !alive
	})
}

// lastLines are the end of a process's log, for an error message.
func (c cluster) lastLines(name string, count int) string {
	text, _ := os.ReadFile(c.logFile(name))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}

// writeJSON writes a file that is either whole or not there.
func writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeFile(path, text, 0o644)
}

// writeFile writes a file that is either whole or not there, and leaves one alone that has this content.
func writeFile(path string, text []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".partial", text, mode); err != nil {
		return err
	}
	return os.Rename(path+".partial", path)
}

// poll asks until the answer is yes or the time is over.
func poll(limit time.Duration, what string, done func() bool) error {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		if done() {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not come within %v", what, limit)
		}
	}
}
