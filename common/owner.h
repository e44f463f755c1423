/* Whose a new file is, and as whom root looks into somebody's directory. */
#ifndef COMMON_OWNER_H
#define COMMON_OWNER_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"

/* What root makes in somebody's directory becomes his, as far as root may do that: a server that
 * runs as that user can then use what a command of the operator's has left. Else it changes
 * nothing. `fd` may be -1; it must not have been opened through a link that the other could have
 * placed there. */
void owner_inherit(int fd, int directory);

/* For a command, before it looks into a directory: root becomes the one to whom the directory
 * belongs, for good, so that nothing in there can have it do what that user could not. Changes
 * nothing when that is root, when this is not root, or when there is no such directory. */
MUST_USE bool owner_become(const char *directory, struct failure *failure);

#endif
