# relay/daemon
