# relay/spool
