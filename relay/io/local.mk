# relay/io
