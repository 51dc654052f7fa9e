"""People whom an LDAP server knows; only its settings can be imported without python-ldap."""
