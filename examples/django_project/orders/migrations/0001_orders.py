"""Make the table of orders."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("article", models.CharField(max_length=100)),
                ("status", models.CharField(default="placed", max_length=20)),
                ("execution_id", models.UUIDField(null=True)),
            ],
        )
    ]
