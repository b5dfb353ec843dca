# relay/route
