#include "directory/source.h"
void openldap_source_run(struct source *s)
{
    (void)s;
}
