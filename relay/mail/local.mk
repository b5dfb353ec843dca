# relay/mail: what a message and a delivery are; the envelope's encoding
noinst_LIBRARIES += libmail.a
libmail_a_SOURCES = \
	relay/mail/decision.h relay/mail/delivery.h \
	relay/mail/envelope.c relay/mail/envelope.h \
	relay/mail/names.c
