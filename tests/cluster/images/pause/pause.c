// The first process of a pod: it holds the pod's namespaces open, and reaps what the pod's containers leave behind when
// they share their processes. It ends when it is told to.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { _exit(0); }

static void reap(int signal) {
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

int main(void) {
    // A first process has no default actions: without a handler of its own a signal would be ignored.
    struct sigaction on_end = {.sa_handler = end};
    struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    if (sigaction(SIGTERM, &on_end, 0) || sigaction(SIGINT, &on_end, 0) || sigaction(SIGCHLD, &on_child, 0)) {
        return 1;
    }
    for (;;) {
        pause();
    }
}
