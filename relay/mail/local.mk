# relay/mail
