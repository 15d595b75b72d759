package main

// sysSetns is the number of setns(2), which Go's syscall package does not name on this architecture.
const sysSetns = 308
