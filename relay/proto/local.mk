# relay/proto
