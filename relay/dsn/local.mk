# relay/dsn
