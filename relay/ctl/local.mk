# relay/ctl
