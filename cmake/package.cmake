# The Debian package: `cd build && cpack`. Besides the program it holds what only a package
# installs: configuration, units and a wrapper command that know the installed paths, and documents.
set(DOC share/doc/jotd)
install(TARGETS jotd RUNTIME DESTINATION lib/jotd COMPONENT package EXCLUDE_FROM_ALL)
install(PROGRAMS deploy/debian/jotd DESTINATION bin COMPONENT package EXCLUDE_FROM_ALL)
install(FILES deploy/systemd/jotd.service deploy/systemd/jotd.socket
              deploy/systemd/jotd-rotate.service deploy/systemd/jotd-rotate.timer
        DESTINATION lib/systemd/system COMPONENT package EXCLUDE_FROM_ALL)
install(FILES deploy/systemd/jotd.env deploy/systemd/commands.env deploy/systemd/pgpass
        DESTINATION /etc/jotd
        PERMISSIONS OWNER_READ OWNER_WRITE COMPONENT package EXCLUDE_FROM_ALL)
install(FILES README.md CHANGELOG.md SECURITY.md deploy/RUNBOOK.md deploy/debian/copyright
        deploy/queries.sql deploy/roles.sql deploy/prometheus/rules.yml
        deploy/prometheus/alertmanager.yml deploy/grafana/jotd.json
        DESTINATION ${DOC} COMPONENT package EXCLUDE_FROM_ALL)
install(FILES .env.example DESTINATION ${DOC} RENAME env.example
        COMPONENT package EXCLUDE_FROM_ALL)
install(DIRECTORY migrations docs DESTINATION ${DOC} COMPONENT package EXCLUDE_FROM_ALL
        PATTERN __pycache__ EXCLUDE)

set(CPACK_GENERATOR DEB)
set(CPACK_INSTALL_CMAKE_PROJECTS
    "${CMAKE_BINARY_DIR};jotd;package;/")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "token service for machines")
set(CPACK_PACKAGE_DESCRIPTION "jotd turns client credentials into signed JWT access tokens (OAuth 2.0
client credentials grant) and records every one in PostgreSQL.")
set(CPACK_PACKAGE_CONTACT "The jotd maintainers <maintainers@jotd.invalid>")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql, prometheus")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles ${CMAKE_SOURCE_DIR}/deploy/debian/postinst
    ${CMAKE_SOURCE_DIR}/deploy/debian/prerm ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
include(CPack)
