# relay/smtpd
