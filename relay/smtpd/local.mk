# relay/smtpd: inbound SMTP
noinst_LIBRARIES += libsmtpd.a
libsmtpd_a_SOURCES = \
	relay/smtpd/clients.c \
	relay/smtpd/command.c \
	relay/smtpd/content.c \
	relay/smtpd/data.c \
	relay/smtpd/mail.c \
	relay/smtpd/rcpt.c \
	relay/smtpd/session.c \
	relay/smtpd/smtpd.c \
	relay/smtpd/smtpd.h \
	relay/smtpd/smtpd_int.h \
	relay/smtpd/trace.c \
	relay/smtpd/transaction.c
