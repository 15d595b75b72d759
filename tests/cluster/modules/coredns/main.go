// Command coredns is the real CoreDNS at the version pinned in go.mod, with the plugins that the cluster's Corefile names.
//
// Its own main brings every plugin along, and with them the clients of three clouds: 1,409 packages to compile, not 797.
package main

import (
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"

	"github.com/coredns/coredns/coremain"
)

func main() {
	coremain.Run()
}
