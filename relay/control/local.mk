# relay/control
