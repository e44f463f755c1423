/* `jotd serve`. */
#ifndef AUTH_SERVE_H
#define AUTH_SERVE_H

/* Serves until a signal ends it. Returns the exit status (cli.h). */
int serve(int argc, char **argv);

#endif
