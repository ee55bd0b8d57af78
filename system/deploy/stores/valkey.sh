# Rendered by `lab render valkey`; edit lab/render/valkey.py.
# Valkey reads its users from standard input: their passwords are in no file and on no command line.
exec valkey-server - --save "" --appendonly no --maxmemory 12mb --maxmemory-policy allkeys-lru <<END
user default off
user lab on >$VALKEY_PASSWORD_LAB -@all +ping +info
user products on >$VALKEY_PASSWORD_PRODUCTS -@all ~products:* +get +set +del +scan +ping +client|setinfo
END
