# The PostgreSQL image runs this once, for a new volume. It creates a role and a database for each DB_PASSWORD_<SERVICE>.
# A role with an empty password cannot log in.
for variable in $(env | sed -n 's/^\(DB_PASSWORD_[A-Z0-9_]*\)=.*/\1/p'); do
    service=$(echo "${variable#DB_PASSWORD_}" | tr '[:upper:]' '[:lower:]')
    psql --set ON_ERROR_STOP=1 --username postgres --set service="$service" --set password="$(printenv "$variable")" <<'SQL'
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service";
REVOKE CONNECT ON DATABASE :"service" FROM PUBLIC;
SQL
done
