package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// machineSettings are what a kubelet sets for the whole machine when it starts (its container manager's
// setupKernelTunables), and no namespace can keep to itself.
var machineSettings = []string{
	"/proc/sys/vm/overcommit_memory",
	"/proc/sys/vm/panic_on_oom",
	"/proc/sys/kernel/panic",
	"/proc/sys/kernel/panic_on_oops",
	"/proc/sys/kernel/keys/root_maxkeys",
	"/proc/sys/kernel/keys/root_maxbytes",
}

func (c cluster) settingsFile() string { return c.path("machine-settings.json") }

// rememberSettings writes down what was set before the first kubelet ran.
func (c cluster) rememberSettings() error {
	if _, err := os.Stat(c.settingsFile()); err == nil {
		return nil // of an earlier run that `down` did not follow: what is set now is the kubelets'
	}
	before := map[string]string{}
	for _, setting := range machineSettings {
		if text, err := os.ReadFile(setting); err == nil {
			before[setting] = strings.TrimSpace(string(text))
		}
	}
	return writeJSON(c.settingsFile(), before)
}

// restoreSettings puts back what was remembered.
func (c cluster) restoreSettings() error {
	text, err := os.ReadFile(c.settingsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	before := map[string]string{}
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	if err != nil {
		return fmt.Errorf("cannot read what the machine's settings were: %w", err)
	}
	for setting, value := range before {
		now, err := os.ReadFile(setting)
		if err == nil && strings.TrimSpace(string(now)) == value {
			continue
		}
		if err := os.WriteFile(setting, []byte(value), 0o644); err != nil {
			return fmt.Errorf("cannot put %s back to %s: %w", setting, value, err)
		}
	}
	return nil
}
