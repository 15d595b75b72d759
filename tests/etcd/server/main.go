// Command etcd is the real etcd server, built from its own Go modules at the version pinned in go.mod.
//
// `go install go.etcd.io/etcd/server/v3@…` refuses modules with replace lines, so this module of ours calls the
// public entry point. Nothing of the server is changed or left out.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
