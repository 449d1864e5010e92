"""PostgreSQL: names, tables, COPY and upsert, progress, views. Imports no other kappa package."""
