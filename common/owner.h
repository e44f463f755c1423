/* Whose a new file is. */
#ifndef COMMON_OWNER_H
#define COMMON_OWNER_H

/* What root makes in somebody's directory becomes his, as far as root may do that: a server that
 * runs as that user can then use what a command of the operator's has left. Else it changes
 * nothing. `fd` may be -1; it must not have been opened through a link that the other could have
 * placed there. */
void owner_inherit(int fd, const char *directory);

#endif
