package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A cluster in a folder of the test's own, which nothing is started in.
func emptyCluster(t *testing.T) cluster {
	t.Helper()
	c := cluster{cache: t.TempDir(), id: "outrigger-test-claims"}
	c.dir = filepath.Join(c.cache, "cluster")
	return c
}

func TestAProcessThatGotARecordedNumberLaterIsNotTakenForTheRecordedOne(t *testing.T) {
	c := emptyCluster(t)
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	started, err := startTime(stranger.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}

	if err := writeJSON(c.recordFile("etcd"), record{PID: stranger.Process.Pid, StartTime: started - 1}); err != nil {
		t.Fatal(err)
	}
	if _, alive := c.running("etcd"); alive {
		t.Error("another start time passes for the recorded process")
	}
	if err := c.end("etcd"); err != nil {
		t.Error(err)
	}
	if _, err := startTime(stranger.Process.Pid); err != nil {
		t.Error("the stranger was ended")
	}

	if err := writeJSON(c.recordFile("etcd"), record{PID: stranger.Process.Pid, StartTime: started}); err != nil {
		t.Fatal(err)
	}
	if _, alive := c.running("etcd"); !alive {
		t.Error("the recorded process is not recognised")
	}
}

func TestAProcessOutsideTheClustersCgroupIsNeverKilled(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	killMember(stranger.Process.Pid, "outrigger-test-claims")
	if _, err := startTime(stranger.Process.Pid); err != nil {
		t.Error("it was killed")
	}
}

func TestANewConfigurationGivesAnotherDigest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Corefile")
	p := process{name: "coredns", args: []string{"coredns"}, files: []string{file}}
	digests := map[string]bool{}
	for _, text := range []string{"ttl 5", "ttl 30", "ttl 5"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		digest, err := p.digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[digest] = true
	}
	if len(digests) != 2 {
		t.Errorf("two configurations give %d digests", len(digests))
	}
}

func TestEveryNodeThatIsNotReadyIsNamedWithItsReason(t *testing.T) {
	var list nodeList
	text := `{"items": [
		{"metadata": {"name": "node-1"}, "status": {"conditions": [{"type": "Ready", "status": "True", "message": "fine"}]}},
		{"metadata": {"name": "node-2"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": "silent"}]}}]}`
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(list.notReady(), "; "); got != "node-2: silent; node-3: not registered" {
		t.Errorf("got %q", got)
	}
}

func TestEveryConfigurationFileIsWhole(t *testing.T) {
	c := emptyCluster(t)
	if err := c.makeCertificates(); err != nil {
		t.Fatal(err)
	}
	if err := c.writeControlConfiguration(); err != nil {
		t.Error(err)
	}
	for _, n := range nodes() {
		if err := c.writeNodeConfiguration(n); err != nil {
			t.Error(err)
		}
		// Two kubelets below one cgroup end each other's pods.
		text, err := os.ReadFile(c.path(n.name, "kubelet.yaml"))
		if err != nil || !strings.Contains(string(text), `cgroupRoot: "/`+c.id+"/"+n.name+`"`) {
			t.Errorf("%s does not keep its pods below its own cgroup: %v", n.name, err)
		}
	}
}
