#!/bin/sh
# Gantry's role and its database, which it owns; it is no superuser, as in production. Names and password come as variables, quoted by psql.
set -eu
psql --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --set ON_ERROR_STOP=1 \
  --set user="$GANTRY_USER" --set password="$GANTRY_PASSWORD" <<'SQL'
CREATE ROLE :"user" LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE gantry OWNER :"user";
REVOKE CONNECT ON DATABASE gantry FROM PUBLIC;
SQL
