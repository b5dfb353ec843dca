# relay/control: the control socket; its command table is causewayctl's, too
noinst_LIBRARIES += libcontrol.a
libcontrol_a_SOURCES = \
	relay/control/commands.c relay/control/commands.def relay/control/commands.h \
	relay/control/control.h \
	relay/control/facts.h
