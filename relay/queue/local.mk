# relay/queue
