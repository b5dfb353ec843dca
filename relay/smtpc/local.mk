# relay/smtpc
